"""pymesos's operator drivers: all their questions to a master and an agent, then events. argv: MASTER AGENT SANDBOX.

Prints one JSON line a question (its answer, or null if it was refused), then the events until a framework leaves.
"""

import json
import sys

from pymesos import MesosOperatorAgentDriver, MesosOperatorMasterDriver, OperatorMaster

OF_BOTH = ("Health", "Flags", "Version", "LoggingLevel", "State", "Frameworks", "Executors", "Tasks")
OF_MASTER = ("Agents", "Roles", "Weights", "Master", "MaintenanceStatus", "MaintenanceSchedule", "Quota")


def say(*words):
    print(json.dumps(words), flush=True)


class Watcher(OperatorMaster):
    def taskAdded(self, task_info):
        say("event", "taskAdded", task_info["task_id"]["value"])

    def taskUpdated(self, task_info):
        say("event", "taskUpdated", task_info["status"]["state"])

    def frameworkAdded(self, framework_info):
        say("event", "frameworkAdded", framework_info["framework_info"]["name"])

    def frameworkUpdated(self, framework_info):
        say("event", "frameworkUpdated", framework_info["framework_info"]["name"])

    def frameworkRemoved(self, framework_info):
        say("event", "frameworkRemoved", framework_info["name"])
        sys.stdout.flush()
        watching.stop()

    def agentAdded(self, agent_info):
        say("event", "agentAdded")

    def agentRemoved(self, agent_info):
        say("event", "agentRemoved")


def ask(driver, names):
    for name in names:
        say(name, getattr(driver, f"get{name}")())
    say("Metrics", driver.getMetrics(10**9))


ask(MesosOperatorMasterDriver(sys.argv[1]), OF_BOTH + OF_MASTER)
agent = MesosOperatorAgentDriver(sys.argv[2])
ask(agent, (*OF_BOTH, "Containers"))
say("Files", agent.listFiles(sys.argv[3]))
say("File", agent.readFile(f"{sys.argv[3]}/stdout", 100, 0))
watching = MesosOperatorMasterDriver(sys.argv[1], Watcher())
watching.start()
say("watching")
watching.join()
