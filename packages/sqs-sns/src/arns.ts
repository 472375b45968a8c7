/** How AWS names its things in full: `arn:aws:sqs:eu-central-1:123456789012:orders`. */

/** Of what has that name, in the same account and region. */
export function siblingArn(arn: string, service: "sqs" | "sns", name: string): string {
  const [, partition = "aws", , region = "", account = ""] = arn.split(":");
  return ["arn", partition, service, region, account, name].join(":");
}

/** @param account `*` for whichever */
export function arnOf(service: "sqs" | "sns", region: string, account: string, name: string): string {
  return ["arn", partitionOf(region), service, region, account, name].join(":");
}

/** Of a queue whose attributes nobody may tell us; its URL ends in `/123456789012/orders`. */
export function arnOfUrl(url: string, region: string): string {
  const [account = "", name = ""] = url.split("/").slice(-2);
  return arnOf("sqs", region, account, name);
}

const partitions: readonly (readonly [RegExp, string])[] = [
  [/^cn-/, "aws-cn"],
  [/^us-gov-/, "aws-us-gov"],
  [/^us-iso-/, "aws-iso"],
  [/^us-isob-/, "aws-iso-b"],
  [/^eu-isoe-/, "aws-iso-e"],
  [/^us-isof-/, "aws-iso-f"],
  [/^eusc-/, "aws-eusc"],
];

function partitionOf(region: string): string {
  return partitions.find(([start]) => start.test(region))?.[1] ?? "aws";
}
