/**
 * The arguments of a `rabbitmqctl` that closes every client connection. `close_all_connections` works on a list that is
 * written a moment after a connection opens and would miss the youngest; this asks the connections themselves.
 */
export function closeAllConnectionsArgs(reason: string): string[] {
  const text = JSON.stringify(reason); // a JSON string of printable ASCII is an Erlang string
  return ["eval", `rabbit_networking:close_connections(rabbit_networking:connections(), ${text}).`];
}
