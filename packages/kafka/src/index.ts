/** Posthorn over Kafka. */
export type { Codec, Codecs, Compression } from "./compression.ts";
export { channelTopic, deadLetterTopic, delayTopic, groupId, retryTopic } from "./names.ts";
export type {
  KafkaChannelOptions,
  KafkaOptions,
  KafkaPasswordLogin,
  KafkaSasl,
  KafkaTlsOptions,
  KafkaTokenLogin,
} from "./options.ts";
export { createTransport, kafka } from "./transport.ts";
