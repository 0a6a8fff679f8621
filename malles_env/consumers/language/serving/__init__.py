"""Models behind a server of the OpenAI protocol: addresses, the client, and what its answers hold."""
