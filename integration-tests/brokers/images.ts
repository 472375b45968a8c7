import type { KafkaVersion, RabbitmqVersion, SqsVersion } from "./broker.ts";
import { kafkaReleases } from "./kafka-libraries.ts";

export interface WantedImage<Version extends string> {
  readonly image: string;
  /** The versions it stands for; more than one only where one image was named for all. */
  readonly versions: readonly Version[];
}

export function rabbitmqImages(
  versions: readonly RabbitmqVersion[],
  env: NodeJS.ProcessEnv,
): WantedImage<RabbitmqVersion>[] {
  return wantedImages("RABBITMQ_IMAGE", versions, env, (version) => `rabbitmq:${version}-management-alpine`);
}

export function kafkaImages(versions: readonly KafkaVersion[], env: NodeJS.ProcessEnv): WantedImage<KafkaVersion>[] {
  return wantedImages("KAFKA_IMAGE", versions, env, (version) => `apache/kafka:${kafkaReleases[version]}`);
}

/** LocalStack's releases after this one want an account. */
export function sqsImages(versions: readonly SqsVersion[], env: NodeJS.ProcessEnv): WantedImage<SqsVersion>[] {
  return [{ image: env["LOCALSTACK_IMAGE"] || "localstack/localstack:4.14.0", versions }];
}

/**
 * The image for each version: `<variable>_4_0` (and so on) if set, else `<variable>`, which stands in for all, else the
 * public one. An image occurs once, however many versions it stands for.
 */
function wantedImages<Version extends string>(
  variable: string,
  versions: readonly Version[],
  env: NodeJS.ProcessEnv,
  publicImage: (version: Version) => string,
): WantedImage<Version>[] {
  const imageOf = (version: Version): string =>
    env[`${variable}_${version.replace(".", "_")}`] || env[variable] || publicImage(version);
  const images = [...new Set(versions.map(imageOf))];
  return images.map((image) => ({ image, versions: versions.filter((version) => imageOf(version) === image) }));
}
