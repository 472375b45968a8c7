import { expect, test } from "vitest";
import { kafkaImages, rabbitmqImages } from "./images.ts";

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
