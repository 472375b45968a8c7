/** Posthorn over SQS and SNS. */
export type { SqsCredentialProvider, SqsCredentials, SqsOptions, SqsRequestHandler } from "./options.ts";
export { createTransport, sqs } from "./transport.ts";
export { sqsLambda } from "./lambda.ts";
export type { SqsLambda } from "./lambda.ts";
export type { SqsLambdaHandler } from "./lambda-handler.ts";
export type { LambdaContext, SqsBatchResponse, SqsEvent, SqsRecord, SqsRecordAttribute } from "./lambda-events.ts";
export { explainPolicies } from "./policies.ts";
export type { Policies, PolicyDocument, PolicyStatement } from "./policies.ts";
