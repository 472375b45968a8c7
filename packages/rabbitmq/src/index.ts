/** Posthorn over RabbitMQ. */
export { deadLetterQueue, inletQueue } from "./names.ts";
export type { RabbitmqOptions, RabbitmqTlsOptions } from "./options.ts";
export { createTransport, rabbitmq } from "./transport.ts";
export { escapedHeaderPrefix, wireHeaders } from "./wire.ts";
