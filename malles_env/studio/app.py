"""The script that Streamlit runs for every visitor and every click."""

from malles_env.studio.frame import run

run()
