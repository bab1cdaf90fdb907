"""A bundle → the files that a platform takes: one module for each platform, with the function `plan`."""

from __future__ import annotations

from collections.abc import Mapping

from bundler.deploy import (
    aws_lambda,
    azure_functions,
    azureml_v1,
    azureml_v2,
    compose,
    docker,
    kubernetes,
    pip_wheelhouse,
    sagemaker,
)
from bundler.deploy.platform import Platform

PLATFORMS: Mapping[str, Platform] = {
    "azureml-v1": azureml_v1,
    "azureml-v2": azureml_v2,
    "docker": docker,
    "compose": compose,
    "kubernetes": kubernetes,
    "aws-lambda": aws_lambda,
    "azure-functions": azure_functions,
    "sagemaker": sagemaker,
    "wheelhouse": pip_wheelhouse,
}
"""Name for `--to` → the module that knows the platform."""
