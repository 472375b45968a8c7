/** The client's end of a walk: shows what waits to a visitor, and tells the broker what he says. */
import type { Verdict, Visit, WalkOptions } from "@posthorn/core/transport";
import type { Visited, Walk } from "./broker/source.ts";
import type { Attached, Connection } from "./connection.ts";
import { aborted, closed, connectionLost } from "./errors.ts";
import { decode } from "./wire.ts";

/** Visits after which timers and sockets get their turn. */
const burst = 256;

export class Walker implements Attached {
  /** Settles when the walk is over and all that was said has taken effect. */
  readonly done: Promise<void>;
  /** A walk does not come back: it fails with its connection. */
  readonly restored = true;
  readonly #what: string;
  readonly #connection: Connection;
  readonly #walk: Walk;
  readonly #visit: Visit;
  readonly #options: WalkOptions;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  #pending = 0;
  #visits = 0;
  /** Lets timers and sockets have their turn. */
  #resting = false;
  /** No more visits are begun. */
  #atEnd = false;
  #over = false;
  #rejection: { readonly error: unknown } | undefined;

  constructor(what: string, connection: Connection, walk: Walk, visit: Visit, options: WalkOptions) {
    this.#what = what;
    this.#connection = connection;
    this.#walk = walk;
    this.#visit = visit;
    this.#options = options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.done = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    connection.attached.add(this);
    options.signal.addEventListener("abort", this.#onAbort);
    this.#next();
  }

  attach(): void {}

  detach(): void {
    this.#end(this.#connection.closed ? closed(this.#what) : connectionLost(this.#what));
  }

  heartbeat(): void {
    this.#walk.heartbeat();
  }

  catchUp(): void {
    if (this.#walk.open) this.#next();
    else this.#end(connectionLost(this.#what));
  }

  readonly #onAbort = (): void => this.#connection.whenAwake(() => this.#end(aborted(this.#what)));

  #next(): void {
    while (!this.#resting && !this.#atEnd && this.#pending < this.#options.maxPending && this.#connection.hears) {
      const visited = this.#walk.next();
      if (visited === undefined) {
        this.#atEnd = true;
      } else {
        this.#pending++;
        if (++this.#visits % burst === 0) this.#rest();
        void this.#show(visited);
      }
    }
    if (this.#atEnd && this.#pending === 0) this.#end(undefined);
  }

  #rest(): void {
    this.#resting = true;
    setImmediate(() => {
      this.#resting = false;
      this.#next();
    });
  }

  async #show(visited: Visited): Promise<void> {
    let verdict: Verdict = "keep";
    try {
      verdict = await this.#visit(decode(visited.record).message);
    } catch (error) {
      // The others that are pending may still say what they have to.
      this.#rejection ??= { error };
      this.#atEnd = true;
    }
    // Those that are pending go on.
    if (verdict === "stop") this.#atEnd = true;
    this.#connection.whenAwake(() => this.#tell(visited, verdict));
  }

  #tell(visited: Visited, verdict: Verdict): void {
    // Without an answer the visit stays pending until the connection is given up.
    if (this.#over || !this.#connection.endVisit(visited, verdict === "remove")) return;
    this.#pending--;
    this.#next();
  }

  #end(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#atEnd = true;
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#connection.attached.delete(this);
    this.#connection.endWalk(this.#walk);
    if (error !== undefined) this.#reject(error);
    else if (this.#rejection !== undefined) this.#reject(this.#rejection.error);
    else this.#resolve();
  }
}
