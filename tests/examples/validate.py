"""Holds files against the schemas of who reads them. Says what is wrong on stdout, and exits with 1 if anything is.

    validate.py parse FILE...          every YAML and JSON file is one
    validate.py kubernetes FILE...     manifests, against the API of the versions below
    validate.py ecs OPERATION FILE     the input of an operation of ECS, against its model
    validate.py policy FILE...         the form of an IAM policy
    validate.py json FILE              says every document of a file, as one list of JSON
"""

import json
import pathlib
import sys

import yaml

# The first with native sidecars on, and the newest there is a schema of.
KUBERNETES = ["1.29", "1.36"]


class Lenient(yaml.SafeLoader):
    """Takes CloudFormation's tags, such as !Ref, for what stands behind them."""


def construct(loader, _suffix, node):
    kinds = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: loader.construct_sequence,
    }
    return kinds.get(type(node), loader.construct_mapping)(node)


Lenient.add_multi_constructor("!", construct)


def documents(path):
    text = pathlib.Path(path).read_text()
    if path.endswith(".json"):
        return [json.loads(text)]
    return list(yaml.load_all(text, Loader=Lenient))


def parse(*paths):
    for path in paths:
        if not any(documents(path)):
            yield f"{path}: there is nothing in it"


def kubernetes(*paths):
    import kubernetes_validate

    for path in paths:
        for document in documents(path):
            for version in KUBERNETES:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    yield f"{path}: {document['kind']} of {version}: {error}"


def ecs(operation, path):
    import botocore.session
    import botocore.validate

    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model(operation).input_shape
    report = botocore.validate.ParamValidator().validate(documents(path)[0], shape)
    if report.has_errors():
        yield f"{path}: {report.generate_report()}"


def policy(*paths):
    for path in paths:
        document = documents(path)[0]
        if document.get("Version") != "2012-10-17":
            yield f"{path}: Version"
        for statement in document["Statement"]:
            if set(statement) - {"Condition"} != {"Sid", "Effect", "Action", "Resource"}:
                yield f"{path}: {statement}"


def main():
    command, *arguments = sys.argv[1:]
    if command == "json":
        print(json.dumps(documents(*arguments)))
        return
    wrong = list({"parse": parse, "kubernetes": kubernetes, "ecs": ecs, "policy": policy}[command](*arguments))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


main()
