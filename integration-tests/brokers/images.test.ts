import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { kafkaImages, rabbitmqImages, sqsImages } from "./images.ts";

test("each version has its public image", () => {
  expect(rabbitmqImages(["3.10", "4.3"], {})).toEqual([
    { image: "rabbitmq:3.10-management-alpine", versions: ["3.10"] },
    { image: "rabbitmq:4.3-management-alpine", versions: ["4.3"] },
  ]);
});

test("an image named for one version replaces only that one", () => {
  expect(rabbitmqImages(["3.10", "4.0"], { RABBITMQ_IMAGE_4_0: "own:4.0" })).toEqual([
    { image: "rabbitmq:3.10-management-alpine", versions: ["3.10"] },
    { image: "own:4.0", versions: ["4.0"] },
  ]);
});

test("an image named for all occurs once, beside one named for a version", () => {
  expect(rabbitmqImages(["3.10", "4.0", "4.3"], { RABBITMQ_IMAGE: "any", RABBITMQ_IMAGE_4_0: "own:4.0" })).toEqual([
    { image: "any", versions: ["3.10", "4.3"] },
    { image: "own:4.0", versions: ["4.0"] },
  ]);
});

test("an empty variable counts as not set", () => {
  expect(rabbitmqImages(["4.0"], { RABBITMQ_IMAGE: "", RABBITMQ_IMAGE_4_0: "" })).toEqual([
    { image: "rabbitmq:4.0-management-alpine", versions: ["4.0"] },
  ]);
});

test("Kafka's are named in the same way", () => {
  expect(kafkaImages(["4.4", "3.9"], { KAFKA_IMAGE_3_9: "own:3.9", RABBITMQ_IMAGE: "any" })).toEqual([
    { image: "apache/kafka:4.4.0", versions: ["4.4"] },
    { image: "own:3.9", versions: ["3.9"] },
  ]);
});

test("SQS has one image, or the one that is named", () => {
  const versions = ["2012-11-05"] as const;
  expect(sqsImages(versions, {})).toEqual([{ image: "localstack/localstack:4.14.0", versions }]);
  expect(sqsImages(versions, { LOCALSTACK_IMAGE: "own:1" })).toEqual([{ image: "own:1", versions }]);
});

test("the LocalStack that is built where no image can be pulled is that of the public image", async () => {
  const packages = await readFile(new URL("docker/localstack.txt", import.meta.url), "utf8");
  const [, release] = /^localstack-core==(\S+)/m.exec(packages) ?? [];
  expect(sqsImages(["2012-11-05"], {})).toMatchObject([{ image: `localstack/localstack:${release}` }]);
});
