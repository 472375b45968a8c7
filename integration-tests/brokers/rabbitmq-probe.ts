import { connect } from "amqplib";
import { poll, type PollOptions } from "./poll.ts";

/** Connects as a client does, and resolves to the version that the broker reports. */
export async function probeRabbitmq(url: string): Promise<string> {
  const connection = await connect(url, { timeout: 5_000 });
  connection.on("error", () => undefined); // what matters of this connection is over; close() tells its own failure
  const { product, version } = connection.connection.serverProperties;
  await connection.close();
  if (product !== "RabbitMQ") throw new Error(`${url} is ${product}, not RabbitMQ`);
  return version;
}

/** The same, again and again until the broker answers. */
export function awaitRabbitmq(url: string, options: PollOptions): Promise<string> {
  return poll(`an AMQP connection to ${url}`, () => probeRabbitmq(url), options);
}
