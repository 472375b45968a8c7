import type { Source, TransportAdmin } from "@posthorn/core/transport";
import type { Session } from "./broker/session.ts";
import type { Connection } from "./connection.ts";
import { missingSource } from "./errors.ts";
import { sourceName } from "./topology.ts";
import { Walker } from "./walk.ts";

export function createAdmin(connection: Connection): TransportAdmin {
  async function ask<Result>(
    what: string,
    source: Source,
    signal: AbortSignal,
    question: (session: Session, name: string) => Result | undefined,
  ): Promise<Result> {
    const name = sourceName(source);
    const result = await connection.ask(`${what} "${name}"`, signal, (session) => question(session, name));
    if (result === undefined) throw missingSource(name);
    return result;
  }
  return {
    depth: (source, { signal }) => ask("The depth of", source, signal, (session, name) => session.depth(name)),
    async walk(source, visit, options) {
      const what = "Walking through";
      const walker = await ask(what, source, options.signal, (session, name) => {
        const walk = session.walk(name, options.limit);
        return walk && new Walker(`${what} "${name}"`, connection, walk, visit, options);
      });
      await walker.done;
    },
    purge: (source, { signal }) => ask("Purging", source, signal, (session, name) => session.purge(name)),
  };
}
