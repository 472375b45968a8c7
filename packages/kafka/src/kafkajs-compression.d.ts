/** kafkajs's codecs. The registry is one for the whole process. */

declare module "kafkajs/src/protocol/message/compression/index.js" {
  export interface KafkajsCodec {
    compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
    decompress(buffer: Buffer): Promise<Buffer>;
  }

  const registry: {
    /** By the number that stands in a batch's attributes. Throws where there is none. */
    readonly Codecs: Record<number, (() => KafkajsCodec) | undefined>;
  };
  export default registry;
}

declare module "kafkajs/src/protocol/message/compression/gzip.js" {
  import type { KafkajsCodec } from "kafkajs/src/protocol/message/compression/index.js";

  const gzip: KafkajsCodec;
  export default gzip;
}
