import type { RabbitmqVersion } from "./broker.ts";

export interface WantedImage {
  readonly image: string;
  /** The versions it stands for; more than one only where one image was named for all. */
  readonly versions: readonly RabbitmqVersion[];
}

/**
 * The image for each version: `RABBITMQ_IMAGE_4_0` (and so on) if set, else `RABBITMQ_IMAGE`, which stands in for all,
 * else the public one. An image occurs once, however many versions it stands for.
 */
export function rabbitmqImages(versions: readonly RabbitmqVersion[], env: NodeJS.ProcessEnv): WantedImage[] {
  const imageOf = (version: RabbitmqVersion): string =>
    env[`RABBITMQ_IMAGE_${version.replace(".", "_")}`] ||
    env["RABBITMQ_IMAGE"] ||
    `rabbitmq:${version}-management-alpine`;
  const images = [...new Set(versions.map(imageOf))];
  return images.map((image) => ({ image, versions: versions.filter((version) => imageOf(version) === image) }));
}
