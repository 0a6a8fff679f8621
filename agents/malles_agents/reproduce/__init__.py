"""Published results reproduced by one command each: `malles reproduce NAME`."""
