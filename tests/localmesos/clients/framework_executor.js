// An executor on mesos-framework: runs what it is launched with for a moment, and answers a message.
"use strict";
const framework = require("mesos-framework");
const crypto = require("crypto");
const http = require("http");

// Its SUBSCRIBE has no "subscribe", which every Mesos since 1.0 refuses (400): nobody could use it without this.
const request = http.request;
http.request = function (...given) {
  const made = request.apply(http, given);
  const write = made.write;
  made.write = function (body, ...rest) {
    const call = JSON.parse(body);
    if (call.type === "SUBSCRIBE") call.subscribe = {};
    return write.call(made, JSON.stringify(call), ...rest);
  };
  return made;
};

function tell(task, state) {
  executor.update({
    task_id: task.task_id,
    state: state,
    source: "SOURCE_EXECUTOR",
    uuid: crypto.randomBytes(16).toString("base64"),
  });
}

const executor = new framework.Executor({
  handlers: {
    SUBSCRIBED: function (subscribed) {},
    LAUNCH: function (launch) {
      tell(launch.task, "TASK_RUNNING");
    },
    KILL: function (kill) {
      tell(kill, "TASK_KILLED");
    },
    ACKNOWLEDGED: function (acknowledged) {},
    MESSAGE: function (message) {
      executor.message(Buffer.from(message.data, "base64").toString()); // it encodes by itself
    },
    SHUTDOWN: function (shutdown) {
      process.exit(0);
    },
  },
});
executor.on("error", (error) => console.error("ERROR", JSON.stringify(error)));
executor.subscribe();
