"""Runs to look at."""

import asyncio
import contextlib


def run_of(workflow, value, **options):
    """Run a workflow to its end, whatever that is, and return the run."""

    async def main():
        run = workflow.start(value, **options)
        with contextlib.suppress(Exception):
            await run
        return run

    return asyncio.run(main())
