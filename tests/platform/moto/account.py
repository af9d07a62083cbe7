"""An AWS account on moto: a group with one machine, a hook, a target group, a queue, and a user.

Prints one line of JSON with all their names. Then answers each line on stdin: `state` with what has
become of them, and anything else by putting it into the queue. Ends with its stdin.
"""

import json
import os
import sys

REGION = "eu-central-1"
os.environ.update(
    AWS_DEFAULT_REGION=REGION,
    AWS_ACCESS_KEY_ID="setup",
    AWS_SECRET_ACCESS_KEY="setup",
    # Calls are let in unjudged until all is set up.
    INITIAL_NO_AUTH_ACTION_COUNT="1000000",
)

import boto3  # noqa: E402
import requests  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402


def say(what):
    print(json.dumps(what), flush=True)


def main():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {}

    def client(service):
        return boto3.client(service, region_name=REGION, endpoint_url=url, **keys)

    ec2, scaling, elb = client("ec2"), client("autoscaling"), client("elbv2")
    sqs, iam = client("sqs"), client("iam")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ec2.create_launch_template(
        LaunchTemplateName="agent",
        LaunchTemplateData={"ImageId": image, "InstanceType": "t3.micro"},
    )
    target = elb.create_target_group(
        Name="agents", Protocol="TCP", Port=8080, VpcId=vpc, TargetType="instance"
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(
        TargetGroupArn=target,
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "8"}],
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="agents",
        LaunchTemplate={"LaunchTemplateName": "agent"},
        MinSize=1,
        MaxSize=1,
        VPCZoneIdentifier=subnet,
        TargetGroupARNs=[target],
    )
    queue = sqs.create_queue(QueueName="notices")["QueueUrl"]
    scaling.put_lifecycle_hook(
        AutoScalingGroupName="agents",
        LifecycleHookName="drained-first",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=300,
    )
    machine = scaling.describe_auto_scaling_instances()["AutoScalingInstances"][0]
    iam.create_user(UserName="agent")
    iam.put_user_policy(
        UserName="agent",
        PolicyName="all",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
            }
        ),
    )
    key = iam.create_access_key(UserName="agent")["AccessKey"]
    # From here on every call has to be signed, and rightly.
    requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10)
    keys.update(
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )
    scaling, elb, sqs = client("autoscaling"), client("elbv2"), client("sqs")
    say(
        {
            "url": url,
            "instance": machine["InstanceId"],
            "target_group": target,
            "queue": f"{url}/123456789012/notices",
            "key": key["AccessKeyId"],
            "secret": key["SecretAccessKey"],
        }
    )

    for line in sys.stdin:
        if line.strip() != "state":
            sqs.send_message(QueueUrl=queue, MessageBody=line)
        counts = sqs.get_queue_attributes(
            QueueUrl=queue,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        health = elb.describe_target_health(TargetGroupArn=target)["TargetHealthDescriptions"]
        machine = scaling.describe_auto_scaling_instances()["AutoScalingInstances"][0]
        say(
            {
                "protected": machine["ProtectedFromScaleIn"],
                "registered": [one["Target"]["Id"] for one in health],
                "messages": sum(int(count) for count in counts.values()),
            }
        )
    server.stop()


main()
