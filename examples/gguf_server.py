"""Serve a GGUF file of a language model over the OpenAI protocol, with llama.cpp's wheel (`pip install xllamacpp`).

    python examples/gguf_server.py qwen2.5-coder-1.5b-instruct-q4_k_m.gguf --port 8131 --threads 2
    malles discuss wholesale --model qwen --server http://127.0.0.1:8131/v1 --top-logprobs 2000

What `llama-server -m FILE --port 8131 -t 2 -c 8192 -np 1` of a llama.cpp of your own does, without compiling one.
"""

from __future__ import annotations

import argparse
import threading


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a GGUF file over the OpenAI protocol.")
    parser.add_argument("file", help="weights, a .gguf file")
    parser.add_argument("--port", type=int, default=8131)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--context", type=int, default=8192, help="tokens a prompt and its answer may have together")
    asked = parser.parse_args()

    from xllamacpp import CommonParams, Server

    settings = CommonParams()
    settings.model.path, settings.offline = asked.file, True
    settings.hostnames, settings.port = ["127.0.0.1"], asked.port
    settings.n_ctx, settings.n_parallel = asked.context, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = asked.threads
    server = Server(settings)
    print(f"listening on {server.listening_address}/v1", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
