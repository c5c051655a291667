// A scheduler on mesos-framework: runs one task, prints its states. Arguments: the master's host and port.
"use strict";
const framework = require("mesos-framework");
const Mesos = framework.Mesos.getMesos();

const scheduler = new framework.Scheduler({
  masterUrl: process.argv[2],
  port: Number(process.argv[3]),
  frameworkName: "mesos-framework",
  logging: { path: process.cwd(), fileName: "scheduler.log", level: "debug" },
  tasks: {
    hello: {
      priority: 1,
      instances: 1,
      commandInfo: new Mesos.CommandInfo(null, null, true, "echo hello", null, null),
      resources: { cpus: 0.1, mem: 32, ports: 1, disk: 0 },
    },
  },
});

function leave(code) {
  scheduler.teardown();
  setTimeout(() => process.exit(code), 300);
}

scheduler.on("subscribed", () => console.log("SUBSCRIBED"));
scheduler.on("update", (update) => {
  console.log(update.status.state);
  if (update.status.state === "TASK_FINISHED") leave(0);
});
scheduler.on("error", (error) => console.error("ERROR", error.message || JSON.stringify(error)));
scheduler.on("ready", () => scheduler.subscribe());
setTimeout(() => leave(1), 30000);
