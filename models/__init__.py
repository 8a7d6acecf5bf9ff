"""Encoders, priors, generators, training, evaluation: the only place with torch."""

import os
import sys

# diffusers and transformers advise developers on standard error, in the middle of a person's
# command (such as to install accelerate, which gains nothing with weights of our size). They read
# these at their first import; who sets them, to `warning`, reads it all.
for _name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
    os.environ.setdefault(_name, "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

# Nobody is told that somebody uses this. ONNX Runtime posts to its maker some seconds after its
# first session unless this is set before it is imported; huggingface_hub adds it to each request.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# OpenVINO sends an event at its import, from a forked process that may never end. To Python the
# module that sends is absent from now on, which OpenVINO takes for not installed.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
