// The contract between a view of a job and whoever gives it data, as types: nothing of this module is left at run time.

/**
 * Source of a job's data: anywidget's model is one (comm), `StreamSource` another (the Jupyter server's WebSocket, or
 * plain HTTP where no WebSocket comes through), `Relay` one after the other. A view reads what is so now, hears of changes, and says what somebody wants.
 *
 * @typedef {object} Source
 * @property {(name: string) => any} get What is so now: see `Content`.
 * @property {(event: string, listener: () => void) => void} on `event` is `change:NAME`.
 * @property {(event: string, listener: () => void) => void} off Undoes `on`.
 * @property {(content: Message) => void} send
 */

/**
 * Names that `Source.get` knows for a view of a job; what is absent is undefined or empty.
 *
 * @typedef {object} Content
 * @property {Snapshot} snapshot
 * @property {Table} table
 * @property {Grid} grid Of more than 200 workers; else empty.
 * @property {string[]} agents Names of the agents of `grid`, in the same order.
 * @property {Output} output
 * @property {WorkerLog} log Of the worker that was opened.
 * @property {Why} why The answer to `{kind: "why"}`.
 * @property {number} beat Changes while whoever gives the data lives.
 * @property {string} beside Class of the HTML that the view hides as long as it lives.
 * @property {string} kernel_id Empty if there is no kernel to ask for.
 * @property {string} [trouble] Why there is no data.
 * @property {string} [via] `"server"` if the data comes from the Jupyter server.
 */

/**
 * @typedef {{kind: "kill"} | {kind: "open", worker_id: number | null} | {kind: "show", is_shown: boolean}
 *   | {kind: "why"} | {kind: "change", values: object, sequence: number} | {kind: "submit"}} Message
 */

/** @typedef {"waiting" | "active" | "good" | "bad" | "ended"} Tone How a state looks. */

/**
 * A job without its workers, as `t2notebook.views.snapshot.snapshot` has it. Times are seconds since 1970, by the clock
 * of whoever gives the data.
 *
 * @typedef {object} Snapshot
 * @property {string} job_id
 * @property {string} name
 * @property {string} state
 * @property {Tone} tone
 * @property {string} chip The state in words.
 * @property {boolean} final
 * @property {boolean} live Whether more will come.
 * @property {number} workers
 * @property {string} counts_text
 * @property {number} progress Fraction of 1.
 * @property {number | null} submitted
 * @property {number | null} finished
 * @property {number} now
 * @property {number} elapsed Seconds.
 * @property {string} elapsed_text
 * @property {string} waiting_for
 * @property {string} lost
 * @property {string} reason
 * @property {Failure[]} [failures]
 * @property {string} each What each worker has, if all have the same.
 * @property {string} [advice]
 * @property {string} [notice]
 */

/**
 * What workers that failed have left behind, a traceback or the end of a stderr; the same of several is one.
 *
 * @typedef {{title: string, text: string, workers: number[]}} Failure
 */

/**
 * @template T
 * @typedef {T | T[]} Column One entry a row; one value alone, if all have that.
 */

/**
 * Workers as columns, by worker id; of a very large job, only some. Times are seconds since the submit. Sparse columns
 * are keyed by the index in `ids`. A column that is absent is empty in all rows.
 *
 * @typedef {object} Table
 * @property {number[]} ids
 * @property {[string, string, Tone][]} states Name, words and tone of each state that there is.
 * @property {Column<number>} state Index in `states`.
 * @property {[string, string, string][]} agents Id, host and text.
 * @property {Column<number>} agent Index in `agents`, or -1.
 * @property {Column<number | null>} [progress]
 * @property {Column<number | null>} [waiting] Since when it waits, or waited, for its present task.
 * @property {Column<number | null>} [launched]
 * @property {Column<number | null>} [started]
 * @property {Column<number | null>} [finished]
 * @property {Column<number | null>} [cpus]
 * @property {Column<number | null>} [mem] MiB.
 * @property {Column<number | null>} [cpu_used] Absent where nothing is measured.
 * @property {Column<number | null>} [mem_now] MiB.
 * @property {Sparse<number>} [restarts]
 * @property {Sparse<number>} [exit_code]
 * @property {Sparse<string>} [note] On its progress.
 * @property {Sparse<string>} [message]
 * @property {Sparse<string>} [reason]
 * @property {Sparse<string>} [result]
 * @property {Sparse<[number, number | null, number | null, number][]>} [earlier] Times of the tasks before its present
 *   one: since when it waited, launched, started, ended.
 * @property {number[]} [bad] Indices of those in trouble, the worst first.
 * @property {string} [hidden] Which workers are not here, in words.
 */

/**
 * @template T
 * @typedef {{[index: string]: T}} Sparse
 */

/**
 * All workers of a large job, summed by agent and state.
 *
 * @typedef {object} Grid
 * @property {[string, string, Tone][]} [states] Name, words and tone of each state that there is.
 * @property {Column<number>[]} [counts] For each state, the number of workers of each agent.
 * @property {number} [waiting] Workers that have no agent yet.
 * @property {number} [hidden] Agents that are not here.
 */

/**
 * The newest lines of all workers: worker id, stream, text.
 *
 * @typedef {object} Output
 * @property {[number, string, string][]} [lines]
 * @property {[number, string, string][]} [current] Those that have no end yet.
 * @property {number} [end] The number of lines that there ever were.
 */

/** @typedef {{worker_id?: number, lines?: [string, string][]}} WorkerLog Stream and text of each line. */

/** @typedef {{message: string, rows: string[]}} Why Why a job waits or has come to its end. */

export {};
