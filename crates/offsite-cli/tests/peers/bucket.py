"""What an administrator, an attacker or a put-only host does to a bucket, with boto3.

Endpoint and credentials come from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY). Prints one JSON value. A request that the server refuses is printed as
{"error": CODE, "status": HTTP STATUS}, with exit code 3.
"""

import argparse
import json
import pathlib
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# One try, so that a test sees what became of its one request.
config = Config(retries={"total_max_attempts": 1}, signature_version="s3v4")
s3 = boto3.client("s3", region_name="us-east-1", config=config)


def create(args):
    s3.create_bucket(Bucket=args.bucket, ObjectLockEnabledForBucket=args.lock is not None)
    if args.versions:
        s3.put_bucket_versioning(Bucket=args.bucket, VersioningConfiguration={"Status": "Enabled"})
    if args.lock:
        retention = {"Mode": args.lock, "Days": 1}
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
        s3.put_object_lock_configuration(Bucket=args.bucket, ObjectLockConfiguration=rule)
    return {}


def pages(call, field, args):
    for page in s3.get_paginator(call).paginate(Bucket=args.bucket, Prefix=args.prefix):
        yield from page.get(field, [])


def keys(args):
    return [found["Key"] for found in pages("list_objects_v2", "Contents", args)]


def versions(args):
    """Every version of every object, newest first, delete markers included."""
    found = [(entry, False) for entry in pages("list_object_versions", "Versions", args)]
    found += [(entry, True) for entry in pages("list_object_versions", "DeleteMarkers", args)]
    found.sort(key=lambda pair: pair[0]["LastModified"], reverse=True)
    found.sort(key=lambda pair: (pair[0]["Key"], not pair[0]["IsLatest"]))
    return [
        {
            "key": entry["Key"],
            "version": entry["VersionId"],
            "latest": entry["IsLatest"],
            "marker": marker,
            "size": entry.get("Size", 0),
        }
        for entry, marker in found
    ]


def put(args):
    options = {"IfNoneMatch": "*"} if args.new else {}
    body = pathlib.Path(args.file).read_bytes()
    answer = s3.put_object(Bucket=args.bucket, Key=args.key, Body=body, **options)
    return {"version": answer.get("VersionId")}


def get(args):
    options = {"VersionId": args.version} if args.version else {}
    answer = s3.get_object(Bucket=args.bucket, Key=args.key, **options)
    pathlib.Path(args.file).write_bytes(answer["Body"].read())
    return {"version": answer.get("VersionId")}


def retention(args):
    options = {"VersionId": args.version} if args.version else {}
    answer = s3.get_object_retention(Bucket=args.bucket, Key=args.key, **options)["Retention"]
    return {"mode": answer["Mode"], "until": answer["RetainUntilDate"].isoformat()}


def delete(args):
    options = {"VersionId": args.version} if args.version else {}
    if args.bypass:
        options["BypassGovernanceRetention"] = True
    answer = s3.delete_object(Bucket=args.bucket, Key=args.key, **options)
    return {"version": answer.get("VersionId"), "marker": answer.get("DeleteMarker", False)}


def url(args):
    """A URL with which anybody may do this for an hour."""
    options = {"Bucket": args.bucket, "Key": args.key}
    return s3.generate_presigned_url(args.action, Params=options)


def probe(args):
    """URLs that tell whether the server works: to put an object, and to get one that is there."""
    s3.create_bucket(Bucket=args.bucket)
    s3.put_object(Bucket=args.bucket, Key="there", Body=b"there")
    names = {"put_object": "new", "get_object": "there"}
    urls = {}
    for action, name in names.items():
        urls[action] = s3.generate_presigned_url(action, Params={"Bucket": args.bucket, "Key": name})
    return urls


def hide(args):
    """Deletes every object without naming a version: where there are versions, they stay."""
    hidden = keys(args)
    for key in hidden:
        s3.delete_object(Bucket=args.bucket, Key=key)
    return hidden


def arguments():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for work, names in [
        (create, "bucket --versions --lock"),
        (keys, "bucket --prefix"),
        (versions, "bucket --prefix"),
        (put, "bucket key file --new"),
        (get, "bucket key file --version"),
        (retention, "bucket key --version"),
        (delete, "bucket key --version --bypass"),
        (url, "bucket key action"),
        (probe, "bucket"),
        (hide, "bucket --prefix"),
    ]:
        command = commands.add_parser(work.__name__)
        command.set_defaults(work=work)
        for name in names.split():
            if name in ("--versions", "--new", "--bypass"):
                command.add_argument(name, action="store_true")
            else:
                command.add_argument(name, **({"default": ""} if name == "--prefix" else {}))
    return parser.parse_args()


def main():
    args = arguments()
    try:
        answer, code = args.work(args), 0
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        answer, code = {"error": error.response["Error"]["Code"], "status": status}, 3
    json.dump(answer, sys.stdout)
    sys.exit(code)


main()
