# Asks SQS and SNS what it is told to: a line of JSON for each request, [service, operation, parameters], and one for each
# answer. Where and as whom is boto3's to find in the environment.
import json
import sys

import boto3
from botocore import xform_name

clients = {service: boto3.client(service) for service in ("sqs", "sns")}

for line in sys.stdin:
    service, operation, parameters = json.loads(line)
    answer = getattr(clients[service], xform_name(operation))(**parameters)
    print(json.dumps(answer, default=str), flush=True)
