#!/usr/bin/env python3
"""Makes client-server.json from the specification's own OpenAPI, which its repository writes with

    scripts/dump-openapi.py --api client-server --spec-release vN.N -o api-docs.json

Usage: bundle.py api-docs.json > client-server.json

What says nothing about requests is left out: descriptions, examples of answers, the shape of answers.
"""
import json
import sys

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


def schema(value):
    if isinstance(value, dict):
        return {key: schema(item) for key, item in value.items()
                if not (key.startswith("x-") or key in ("description", "title") and isinstance(item, str))}
    if isinstance(value, list):
        return [schema(item) for item in value]
    return value


def operation(old):
    new = {key: schema(old[key]) for key in ("operationId", "deprecated", "parameters", "requestBody", "security") if key in old}
    new["responses"] = {status: {"description": ""} for status in old["responses"]}
    return new


def main():
    old = json.load(open(sys.argv[1], encoding="utf-8"))
    head = {
        "openapi": old["openapi"],
        "info": {
            "title": "Matrix client-server API", "version": old["info"]["version"],
            "description": "From https://github.com/matrix-org/matrix-spec, shortened by bundle.py.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "components": schema(old["components"]),
    }
    # A line for each path, so that a new version can be compared.
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    paths = [f"{json.dumps(path)}: {json.dumps({m: operation(item[m]) for m in METHODS if m in item}, ensure_ascii=False)}"
             for path, item in sorted(old["paths"].items())]
    print("{\n" + ",\n".join(lines) + ",\n\"paths\": {\n" + ",\n".join(paths) + "\n}}")


if __name__ == "__main__":
    main()
