/** What a queue's policy has to say so that SNS may send to it. */

/** The statement that lets a topic send to a queue. */
export function statementFor(queueArn: string, topicArn: string): Readonly<Record<string, unknown>> {
  return {
    Sid: "posthorn",
    Effect: "Allow",
    Principal: { Service: "sns.amazonaws.com" },
    Action: "sqs:SendMessage",
    Resource: queueArn,
    Condition: { ArnEquals: { "aws:SourceArn": topicArn } },
  };
}

/** @param policy what there is; with what others have written it stays as it is */
export function policyWith(policy: QueuePolicy | undefined, queueArn: string, topicArn: string): string {
  const others = policy === undefined ? [] : policy.statements;
  // Of one name there may be one statement only.
  const names = new Set(others.map((statement) => statement["Sid"]));
  const statement = statementFor(queueArn, topicArn);
  let name = "posthorn";
  for (let count = 2; names.has(name); count++) name = `posthorn${count}`;
  const Statement = [...others, { ...statement, Sid: name }];
  return JSON.stringify({ Version: "2012-10-17", ...policy?.rest, Statement });
}

export interface QueuePolicy {
  readonly statements: readonly Readonly<Record<string, unknown>>[];
  readonly rest: Readonly<Record<string, unknown>>;
}

/** @returns `undefined` where it is none that we understand */
export function readPolicy(text: string): QueuePolicy | undefined {
  const policy = readJson(text);
  if (!isRecord(policy)) return undefined;
  const { Statement, ...rest } = policy;
  const statements = listOf(Statement);
  return statements.every(isRecord) ? { statements, rest } : undefined;
}

/** Whether one of its statements lets the topic send to the queue. What depends on anything but the topic does not count. */
export function allows({ statements }: QueuePolicy, queueArn: string, topicArn: string): boolean {
  return statements.some(
    ({ Effect, Principal, Action, Resource, Condition }) =>
      Effect === "Allow" &&
      isSns(Principal) &&
      anyMatches(Action, "sqs:sendmessage", (text) => text.toLowerCase()) &&
      anyMatches(Resource, queueArn) &&
      isMet(Condition, topicArn),
  );
}

function isSns(principal: unknown): boolean {
  if (principal === "*") return true;
  if (!isRecord(principal)) return false;
  return listOf(principal["Service"]).includes("sns.amazonaws.com") || listOf(principal["AWS"]).includes("*");
}

const comparisons = new Set(["ArnEquals", "ArnLike", "StringEquals", "StringLike"]);

function isMet(condition: unknown, topicArn: string): boolean {
  if (condition === undefined) return true;
  if (!isRecord(condition)) return false;
  return Object.entries(condition).every(
    ([comparison, keys]) =>
      comparisons.has(comparison) &&
      isRecord(keys) &&
      Object.entries(keys).every(
        ([key, values]) => key.toLowerCase() === "aws:sourcearn" && anyMatches(values, topicArn),
      ),
  );
}

/** @param patterns one or several, in which `*` stands for anything */
function anyMatches(patterns: unknown, text: string, normal = (pattern: string): string => pattern): boolean {
  return listOf(patterns).some((pattern) => {
    if (typeof pattern !== "string") return false;
    const escaped = normal(pattern).replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
    return new RegExp(`^${escaped.replaceAll("*", ".*")}$`).test(text);
  });
}

function listOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @returns `undefined` where it is no JSON */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
