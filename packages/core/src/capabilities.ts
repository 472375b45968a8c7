/**
 * What a transport can do, as plain data. Claimed by the adapter, proved by the contract tests, printed in the docs.
 *
 * A feature that the chosen transport lacks is refused by name when the bus starts (or, where only the call shows it,
 * when it is called) with UNSUPPORTED_CAPABILITY; it never silently degrades.
 */
export interface Capabilities {
  /** Largest message the transport takes, body and headers together, in bytes. */
  readonly maxMessageBytes: number;
  /** Messages survive a restart of every process and of the broker. */
  readonly durable: boolean;
  /**
   * How settlements become permanent. `message`: each on its own. `prefix`: only a contiguous run from the oldest on, so
   * that a crash also brings back messages that were accepted behind one still open.
   */
  readonly settlement: "message" | "prefix";
  /** `Message.notBefore` is honoured, for any length. Durable redelivery needs it, too. */
  readonly delayedDelivery: boolean;
  /** Channels declared `ordered: true` are possible. */
  readonly ordering: boolean;
  /** Reply inboxes are possible. */
  readonly replies: boolean;
}
