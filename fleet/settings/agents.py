"""What agents meet: held reads, limits of what they send, enrollment, log lines, carves."""

from fleet.settings.environment import env

HOLD_SECONDS = env.float("HOLD_SECONDS", default=10.0)  # longest a read is held; 0 answers idle reads at once
MAX_HELD_READS = env.int("MAX_HELD_READS", default=20_000)  # per gateway process; above it idle reads end at once
WAKE_PER_SECOND = env.int("WAKE_PER_SECOND", default=600)  # held reads woken per second and process
LIVE_QUERIES_PER_READ = env.int("LIVE_QUERIES_PER_READ", default=3)
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", default=256 * 2**20)  # of one request of an agent
LARGE_BODIES_BYTES = env.int("LARGE_BODIES_BYTES", default=512 * 2**20)  # memory shared by bodies above 1 MiB
LOG_MAX_BYTES = env.int("LOG_MAX_BYTES", default=32 * 2**20)  # of one batch of log lines; a larger one is dropped
MAX_RESULT_BYTES = env.int("MAX_RESULT_BYTES", default=8 * 2**20)  # of one host's rows; what is above is cut
STREAM_MAX_BYTES = env.int("STREAM_MAX_BYTES", default=2**30)  # backlog at which no new work is handed out
LATE_ANSWER_SECONDS = env.int("LATE_ANSWER_SECONDS", default=3600)  # answers are kept this long after the end
# Where log lines of agents go: file:///path/of.ndjson, a stream of a Redis that is not the board's as
# redis://host:port/db#key, or nowhere: agents hear that their lines were taken, and they are dropped.
LOG_SINK = env.place("LOG_SINK", default="")
LOG_FILE_MAX_BYTES = env.int("LOG_FILE_MAX_BYTES", default=0)  # of LOG_SINK's file, then it is rotated; 0 = never
LOG_FILES_KEPT = env.int("LOG_FILES_KEPT", default=5)  # full files that stay beside it
ENROLL_TAKEOVER = env.choice("ENROLL_TAKEOVER", ("mark", "refuse"), default="mark")  # refuse = not while its name asks
WRONG_SECRETS_IN_ALL_PER_MINUTE = env.int("WRONG_SECRETS_IN_ALL_PER_MINUTE", default=100)  # from all addresses
WRONG_SECRETS_PER_MINUTE = env.int("WRONG_SECRETS_PER_MINUTE", default=20)  # per address; those above it are not logged
HOUSEKEEPING_MINUTES = env.int("HOUSEKEEPING_MINUTES", default=60)  # between two detail and label queries; 0 = none
ONLINE_SECONDS = env.int("ONLINE_SECONDS", default=60)  # a host that asked within is online

CARVE_MAX_BYTES = env.int("CARVE_MAX_BYTES", default=2**30)  # of one carve
CARVE_MAX_BLOCK_BYTES = env.int("CARVE_MAX_BLOCK_BYTES", default=8 * 2**20)  # of one block, before base64
CARVE_SESSION_SECONDS = env.int("CARVE_SESSION_SECONDS", default=86_400)  # without a block, then the carve is over
