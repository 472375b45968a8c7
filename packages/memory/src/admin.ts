import type { Source, TransportAdmin } from "@posthorn/core/transport";
import type { Session } from "./broker/session.ts";
import type { Connection } from "./connection.ts";
import { missingSource } from "./errors.ts";
import { sourceName } from "./topology.ts";
import { decode } from "./wire.ts";

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
    browse: (source, { signal, limit }) =>
      ask("Browsing", source, signal, (session, name) =>
        session.browse(name, limit)?.map((record) => decode(record).message),
      ),
    purge: (source, { signal }) => ask("Purging", source, signal, (session, name) => session.purge(name)),
  };
}
