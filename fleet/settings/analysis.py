"""SQL of people over answers, in processes of its own."""

from fleet.settings.environment import BASE_DIR, env

# Columnar copies of answers: a folder that consoles and workers share.
ANALYSIS_DIR = env.str("ANALYSIS_DIR", default=str(BASE_DIR / ".analysis"))
ANALYSIS_CACHE_BYTES = env.int("ANALYSIS_CACHE_BYTES", default=4 * 2**30)  # of all copies together
ANALYSIS_COPY_BYTES = env.int("ANALYSIS_COPY_BYTES", default=2 * 2**30)  # of rows as JSON; larger ones are not analysed
ANALYSIS_COPY_SECONDS = env.int("ANALYSIS_COPY_SECONDS", default=120)  # for one copy
ANALYSES_AT_ONCE = env.int("ANALYSES_AT_ONCE", default=2)  # per console process
ANALYSIS_WAIT_SECONDS = env.int("ANALYSIS_WAIT_SECONDS", default=5)  # how long the next one waits for its turn
ANALYSIS_SECONDS = env.float("ANALYSIS_SECONDS", default=20.0)  # of one question, beside copying
ANALYSIS_MEMORY_BYTES = env.int("ANALYSIS_MEMORY_BYTES", default=2**30)  # of one question
ANALYSIS_THREADS = env.int("ANALYSIS_THREADS", default=2)  # of one question
ANALYSIS_MAX_ROWS = env.int("ANALYSIS_MAX_ROWS", default=10_000)  # of a result; more is cut, and said
ANALYSIS_MAX_BYTES = env.int("ANALYSIS_MAX_BYTES", default=8 * 2**20)  # of a result as JSON; more is cut, and said
