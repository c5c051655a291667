"""The table of Mesos v1 messages that the embedded Mesos understands, in the order of the `.proto` files.

One word a field: `name` `!` (required), `*` (repeated) or `%` (map from strings) `:` type, `=` default.
Deprecated fields have no default, since Mesos prints none for them. Fields that are not here are ignored, as Mesos
ignores unknown ones.
"""

from __future__ import annotations

_STATES = """STAGING STARTING RUNNING KILLING FINISHED FAILED KILLED ERROR LOST DROPPED UNREACHABLE GONE
GONE_BY_OPERATOR UNKNOWN"""

ENUMS: dict[str, frozenset[str]] = {
    name: frozenset(values.split())
    for name, values in {
        "TaskState": " ".join("TASK_" + state for state in _STATES.split()),
        "Source": "SOURCE_MASTER SOURCE_AGENT SOURCE_EXECUTOR",
        "Reason": """REASON_COMMAND_EXECUTOR_FAILED REASON_CONTAINER_LAUNCH_FAILED REASON_CONTAINER_LIMITATION
            REASON_CONTAINER_LIMITATION_DISK REASON_CONTAINER_LIMITATION_MEMORY REASON_CONTAINER_PREEMPTED
            REASON_CONTAINER_UPDATE_FAILED REASON_MAX_COMPLETION_TIME_REACHED
            REASON_EXECUTOR_REGISTRATION_TIMEOUT REASON_EXECUTOR_REREGISTRATION_TIMEOUT
            REASON_EXECUTOR_TERMINATED REASON_EXECUTOR_UNREGISTERED REASON_FRAMEWORK_REMOVED REASON_GC_ERROR
            REASON_INVALID_FRAMEWORKID REASON_INVALID_OFFERS REASON_IO_SWITCHBOARD_EXITED
            REASON_MASTER_DISCONNECTED REASON_RECONCILIATION REASON_RESOURCES_UNKNOWN REASON_AGENT_DISCONNECTED
            REASON_AGENT_DRAINING REASON_AGENT_REMOVED REASON_AGENT_REMOVED_BY_OPERATOR
            REASON_AGENT_REREGISTERED REASON_AGENT_RESTARTED REASON_AGENT_UNKNOWN
            REASON_TASK_KILLED_DURING_LAUNCH REASON_TASK_CHECK_STATUS_UPDATED
            REASON_TASK_HEALTH_CHECK_STATUS_UPDATED REASON_TASK_GROUP_INVALID REASON_TASK_GROUP_UNAUTHORIZED
            REASON_TASK_INVALID REASON_TASK_UNAUTHORIZED REASON_TASK_UNKNOWN""",
        "ValueType": "SCALAR RANGES SET TEXT",
        "Capability": """REVOCABLE_RESOURCES TASK_KILLING_STATE GPU_RESOURCES SHARED_RESOURCES PARTITION_AWARE
            MULTI_ROLE RESERVATION_REFINEMENT REGION_AWARE""",
        "ExecutorType": "DEFAULT CUSTOM",
        "VariableType": "VALUE SECRET",
        "SecretType": "REFERENCE VALUE",
        "VolumeMode": "RW RO",
        "VolumeType": "DOCKER_VOLUME HOST_PATH SANDBOX_PATH SECRET CSI_VOLUME",
        "SandboxPathType": "SELF PARENT",
        "CheckType": "COMMAND HTTP TCP",
        "ContainerType": "DOCKER MESOS",
        "ImageType": "APPC DOCKER",
        "Visibility": "FRAMEWORK CLUSTER EXTERNAL",
        "OperationType": """LAUNCH LAUNCH_GROUP RESERVE UNRESERVE CREATE DESTROY GROW_VOLUME SHRINK_VOLUME
            CREATE_DISK DESTROY_DISK""",
        "SchedulerCall": """SUBSCRIBE TEARDOWN ACCEPT DECLINE ACCEPT_INVERSE_OFFERS DECLINE_INVERSE_OFFERS REVIVE
            KILL SHUTDOWN ACKNOWLEDGE ACKNOWLEDGE_OPERATION_STATUS RECONCILE RECONCILE_OPERATIONS MESSAGE REQUEST
            SUPPRESS UPDATE_FRAMEWORK""",
        "ExecutorCall": "SUBSCRIBE UPDATE MESSAGE HEARTBEAT",
        "MasterCall": """UNKNOWN GET_HEALTH GET_FLAGS GET_VERSION GET_METRICS GET_LOGGING_LEVEL SET_LOGGING_LEVEL
            LIST_FILES READ_FILE GET_STATE GET_AGENTS GET_FRAMEWORKS GET_EXECUTORS GET_OPERATIONS GET_TASKS GET_ROLES
            GET_WEIGHTS UPDATE_WEIGHTS GET_MASTER SUBSCRIBE RESERVE_RESOURCES UNRESERVE_RESOURCES CREATE_VOLUMES
            DESTROY_VOLUMES GROW_VOLUME SHRINK_VOLUME GET_MAINTENANCE_STATUS GET_MAINTENANCE_SCHEDULE
            UPDATE_MAINTENANCE_SCHEDULE START_MAINTENANCE STOP_MAINTENANCE GET_QUOTA UPDATE_QUOTA SET_QUOTA
            REMOVE_QUOTA TEARDOWN MARK_AGENT_GONE DRAIN_AGENT DEACTIVATE_AGENT REACTIVATE_AGENT""",
        "AgentCall": """UNKNOWN GET_HEALTH GET_FLAGS GET_VERSION GET_METRICS GET_LOGGING_LEVEL SET_LOGGING_LEVEL
            LIST_FILES READ_FILE GET_STATE GET_CONTAINERS GET_FRAMEWORKS GET_EXECUTORS GET_OPERATIONS GET_TASKS
            GET_AGENT GET_RESOURCE_PROVIDERS LAUNCH_CONTAINER WAIT_CONTAINER KILL_CONTAINER REMOVE_CONTAINER
            LAUNCH_NESTED_CONTAINER WAIT_NESTED_CONTAINER KILL_NESTED_CONTAINER REMOVE_NESTED_CONTAINER
            LAUNCH_NESTED_CONTAINER_SESSION ATTACH_CONTAINER_INPUT ATTACH_CONTAINER_OUTPUT
            ADD_RESOURCE_PROVIDER_CONFIG UPDATE_RESOURCE_PROVIDER_CONFIG REMOVE_RESOURCE_PROVIDER_CONFIG
            MARK_RESOURCE_PROVIDER_GONE PRUNE_IMAGES""",
    }.items()
}

MESSAGES: dict[str, str] = {
    # mesos.proto
    "ID": "value!:string",
    "DurationInfo": "nanoseconds!:int64",
    "TimeInfo": "nanoseconds!:int64",
    "Label": "key!:string value:string",
    "Labels": "labels*:Label",
    "Scalar": "value!:double",
    "Range": "begin!:uint64 end!:uint64",
    "Ranges": "range*:Range",
    "Set": "item*:string",
    "Text": "value!:string",
    "Attribute": "name!:string type!:ValueType scalar:Scalar ranges:Ranges set:Set text:Text",
    "AllocationInfo": "role:string",
    "ReservationInfo": "type:string role:string principal:string labels:Labels",
    "DiskPersistence": "id!:string principal:string",
    "DiskInfo": "persistence:DiskPersistence",
    "Empty": "",
    "Resource": """provider_id:ID name!:string type!:ValueType scalar:Scalar ranges:Ranges set:Set role:string
        allocation_info:AllocationInfo reservation:ReservationInfo reservations*:ReservationInfo disk:DiskInfo
        revocable:Empty shared:Empty""",
    "FrameworkCapability": "type:Capability",
    "FrameworkInfo": """user!:string name!:string id:ID failover_timeout:double=0 checkpoint:bool=false role:string
        roles*:string hostname:string principal:string webui_url:string capabilities*:FrameworkCapability
        labels:Labels""",
    "Uri": "value!:string executable:bool extract:bool=true cache:bool output_file:string",
    "Variable": "name!:string type:VariableType=VALUE value:string secret:Secret",
    "SecretReference": "name!:string key:string",
    "SecretValue": "data!:bytes",
    "Secret": "type:SecretType reference:SecretReference value:SecretValue",
    "Environment": "variables*:Variable",
    "CommandInfo": """uris*:Uri environment:Environment shell:bool=true value:string arguments*:string
        user:string""",
    "ContainerInfo": """type!:ContainerType volumes*:Volume hostname:string docker:DockerInfo mesos:MesosInfo
        linux_info:LinuxInfo""",
    "LinuxInfo": "share_cgroups:bool=true",
    "Volume": "container_path!:string host_path:string mode!:VolumeMode image:Image source:VolumeSource",
    "VolumeSource": """type:VolumeType docker_volume:DockerVolume host_path:HostPath sandbox_path:SandboxPath
        secret:Secret csi_volume:Empty""",
    "DockerVolume": "driver:string name!:string",
    "HostPath": "path!:string",
    "SandboxPath": "type:SandboxPathType path!:string",
    "DockerInfo": "image!:string force_pull_image:bool",
    "MesosInfo": "image:Image",
    "Image": "type:ImageType docker:DockerImage cached:bool",
    "DockerImage": "name!:string",
    "Port": "number!:uint32 name:string protocol:string visibility:Visibility labels:Labels",
    "Ports": "ports*:Port",
    "DiscoveryInfo": """visibility!:Visibility name:string environment:string location:string version:string
        ports:Ports labels:Labels""",
    "ExecutorInfo": """type:ExecutorType executor_id!:ID framework_id:ID command:CommandInfo
        container:ContainerInfo resources*:Resource name:string source:string data:bytes discovery:DiscoveryInfo
        shutdown_grace_period:DurationInfo labels:Labels""",
    "CheckCommand": "command!:CommandInfo",
    "CheckHttp": "port!:uint32 path:string",
    "CheckTcp": "port!:uint32",
    "HealthHttp": "scheme:string port!:uint32 path:string statuses*:uint32",
    "HealthCheck": """delay_seconds:double=15 interval_seconds:double=10 timeout_seconds:double=20
        consecutive_failures:uint32=3 grace_period_seconds:double=10 type:CheckType command:CommandInfo
        http:HealthHttp tcp:CheckTcp""",
    "CheckInfo": """type:CheckType command:CheckCommand http:CheckHttp tcp:CheckTcp delay_seconds:double=15
        interval_seconds:double=10 timeout_seconds:double=20""",
    "CheckCommandStatus": "exit_code:int32",
    "CheckHttpStatus": "status_code:uint32",
    "CheckTcpStatus": "succeeded:bool",
    "CheckStatusInfo": "type:CheckType command:CheckCommandStatus http:CheckHttpStatus tcp:CheckTcpStatus",
    "ContainerId": "value!:string parent:ContainerId",
    "KillPolicy": "grace_period:DurationInfo",
    "TaskInfo": """name!:string task_id!:ID agent_id!:ID resources*:Resource executor:ExecutorInfo
        command:CommandInfo container:ContainerInfo health_check:HealthCheck check:CheckInfo
        kill_policy:KillPolicy data:bytes labels:Labels discovery:DiscoveryInfo
        max_completion_time:DurationInfo limits%:Scalar""",
    "TaskGroupInfo": "tasks*:TaskInfo",
    "IpAddress": "protocol:string ip_address:string",
    "NetworkInfo": "ip_addresses*:IpAddress",
    "ContainerStatus": "container_id:ContainerId network_infos*:NetworkInfo executor_pid:uint32",
    "TaskStatus": """task_id!:ID state!:TaskState message:string source:Source reason:Reason data:bytes agent_id:ID
        executor_id:ID timestamp:double uuid:bytes healthy:bool check_status:CheckStatusInfo labels:Labels
        container_status:ContainerStatus
        unreachable_time:TimeInfo""",
    "Filters": "refuse_seconds:double=5",
    "Request": "agent_id:ID resources*:Resource",
    "Launch": "task_infos*:TaskInfo",
    "LaunchGroup": "executor!:ExecutorInfo task_group!:TaskGroupInfo",
    "Operation": "type:OperationType id:ID launch:Launch launch_group:LaunchGroup",
    # scheduler.proto
    "scheduler.Call": """framework_id:ID type:SchedulerCall subscribe:scheduler.Subscribe accept:scheduler.Accept
        decline:scheduler.Decline accept_inverse_offers:scheduler.Decline
        decline_inverse_offers:scheduler.Decline revive:scheduler.Roles kill:scheduler.Kill
        shutdown:scheduler.Shutdown acknowledge:scheduler.Acknowledge
        acknowledge_operation_status:scheduler.AcknowledgeOperation
        reconcile:scheduler.Reconcile reconcile_operations:scheduler.ReconcileOperations message:scheduler.Message
        request:scheduler.Request suppress:scheduler.Roles update_framework:scheduler.Subscribe""",
    "scheduler.Subscribe": "framework_info!:FrameworkInfo suppressed_roles*:string",
    "scheduler.Accept": "offer_ids*:ID operations*:Operation filters:Filters",
    "scheduler.Decline": "offer_ids*:ID filters:Filters",
    "scheduler.Roles": "roles*:string",
    "scheduler.Kill": "task_id!:ID agent_id:ID kill_policy:KillPolicy",
    "scheduler.Shutdown": "executor_id!:ID agent_id!:ID",
    "scheduler.Acknowledge": "agent_id!:ID task_id!:ID uuid!:bytes",
    "scheduler.ReconcileTask": "task_id!:ID agent_id:ID",
    "scheduler.Reconcile": "tasks*:scheduler.ReconcileTask",
    "scheduler.AcknowledgeOperation": "agent_id:ID resource_provider_id:ID uuid!:bytes operation_id!:ID",
    "scheduler.ReconcileOperation": "operation_id!:ID agent_id:ID resource_provider_id:ID",
    "scheduler.ReconcileOperations": "operations*:scheduler.ReconcileOperation",
    "scheduler.Message": "agent_id!:ID executor_id!:ID data!:bytes",
    "scheduler.Request": "requests*:Request",
    # executor.proto
    "executor.Call": """executor_id!:ID framework_id!:ID type:ExecutorCall subscribe:executor.Subscribe
        update:executor.Update message:executor.Message""",
    "executor.Subscribe": "unacknowledged_tasks*:TaskInfo unacknowledged_updates*:executor.Update",
    "executor.Update": "status!:TaskStatus",
    "executor.Message": "data!:bytes",
    # master.proto and agent.proto: the parts of the operator API that are answered
    "operator.GetMetrics": "timeout:DurationInfo",
    "operator.ListFiles": "path!:string",
    "operator.ReadFile": "path!:string offset!:uint64 length:uint64",
    "operator.Teardown": "framework_id!:ID",
    "master.Call": """type:MasterCall get_metrics:operator.GetMetrics list_files:operator.ListFiles
        read_file:operator.ReadFile teardown:operator.Teardown set_logging_level:Empty update_weights:Empty
        reserve_resources:Empty unreserve_resources:Empty create_volumes:Empty destroy_volumes:Empty
        grow_volume:Empty shrink_volume:Empty update_maintenance_schedule:Empty start_maintenance:Empty
        stop_maintenance:Empty drain_agent:Empty deactivate_agent:Empty reactivate_agent:Empty set_quota:Empty
        remove_quota:Empty update_quota:Empty mark_agent_gone:Empty""",
    "agent.Call": """type:AgentCall get_metrics:operator.GetMetrics list_files:operator.ListFiles
        read_file:operator.ReadFile set_logging_level:Empty""",
}
