// A framework on the npm package mesos-framework, driven by lines of JSON: see avmesos_framework.py.
// Its environment variable NODE_PATH names the folder of the package.
"use strict";

const readline = require("node:readline");
const { Scheduler, Mesos } = require("mesos-framework");

const messages = Mesos.getMesos();
const [, , url, frameworkId] = process.argv;
const { hostname, port } = new URL(url);
const agents = {};

function say(event, parts) {
  process.stdout.write(JSON.stringify({ event, ...parts }) + "\n");
}

const scheduler = new Scheduler({
  masterUrl: hostname,
  port,
  frameworkName: "foreign",
  frameworkFailoverTimeout: 600,
  exponentialBackoffMinimum: 0.2,
  logging: { path: process.cwd(), fileName: "mesos-framework.log", level: "error" },
});
if (frameworkId !== "-") scheduler.frameworkId = frameworkId;

scheduler.on("subscribed", (it) => say("subscribed", { framework_id: it.frameworkId }));
scheduler.on("update", ({ status }) => {
  agents[status.task_id.value] = (status.agent_id || {}).value;
  say("update", { task_id: status.task_id.value, state: status.state, reason: status.reason });
});
scheduler.on("error", (error) => say("error", { message: error.message || String(error) }));
scheduler.on("sent_teardown", () => say("torn-down"));
scheduler.on("ready", () => scheduler.subscribe());

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const call = JSON.parse(line);
  if (call.launch) {
    for (const taskId of call.launch) {
      scheduler.pendingTasks.push({
        taskId,
        name: taskId,
        commandInfo: new messages.CommandInfo(null, null, true, "sleep 1000", null, null),
        resources: { cpus: 0.1, mem: 32, ports: 1, disk: 0 },
      });
    }
    scheduler.revive();
  } else if (call.kill) {
    scheduler.kill(call.kill, agents[call.kill]);
  } else if (call.reconcile) {
    scheduler.reconcile();
  } else if (call.teardown) {
    scheduler.teardown();
  }
}).on("close", () => process.exit(0));
