"""The executor of `pymesos_scheduler.py`: a task runs until it is told to end, or killed."""

import time

from addict import Dict
from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class Worker(Executor):
    def update(self, driver, task_id, state):
        update = Dict()
        update.task_id.value = task_id
        update.state = state
        update.timestamp = time.time()
        driver.sendStatusUpdate(update)

    def launchTask(self, driver, task):
        driver.sendFrameworkMessage(encode_data(decode_data(task.data)))
        self.update(driver, task.task_id.value, "TASK_RUNNING")

    def frameworkMessage(self, driver, message):
        if decode_data(message) == b"end":
            self.update(driver, "ends", "TASK_FINISHED")

    def killTask(self, driver, task_id):
        self.update(driver, task_id.value, "TASK_KILLED")


if __name__ == "__main__":
    MesosExecutorDriver(Worker(), use_addict=True).run()
