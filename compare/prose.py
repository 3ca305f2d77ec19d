"""The texts of the report around its figures, with names in braces for values."""

INTRODUCTION = """\
# Benchmarks

<!-- Written by `scripts/compare`. Do not edit it: measure again. -->

This document compares ringsock with other WebSocket servers. All were measured in the same run, in turn, round after
round, on one processor each with the load on another. A ratio compares samples of one round; the tables show the median
over the rounds. Every answer was checked: content, order and number.

Measured {day} with ringsock {version}: {rounds} of {seconds:g} s after {warm_up:g} s of warm-up."""

UNFINISHED = "**This run was not finished.** The report has the figures measured so far."

CPU_RATIOS = """\
Processor time of the server for each message (or handshake), as a multiple of the time that ringsock on io_uring needs.
Above 1 the other server needs more; **bold** figures are those below 1."""

RATE_RATIOS = """\
Messages (or handshakes) per second, as a multiple. Below 1 the other server does fewer; **bold** figures are those that
exceed 1. Where one connection waits for each answer, or where the load's processor is the busy one, this table says less
about a server than the one above; the tables below show how busy both processors were."""

MEMORY_RATIOS = "Memory of the server for each idle connection, as a multiple. Above 1 the other server needs more."

LOSSES = """\
Every figure in which another was better than ringsock on io_uring, the largest difference first: {lost} of
{compared} comparisons. ringsock on epoll counts as another."""

CLEAR_LOSSES = "In every round, {count}:"

UNCLEAR_LOSSES = "In the median but not in every round, so perhaps by chance, {count}:"

CONTESTANTS = """\
Each is used as its own documentation and examples show, built for release, without compression, with one thread for its
connections. Before it is measured each must echo text, bytes, fragments and 100 messages at once, publish to all
subscribers, answer pings and close in order. Their sources are in `compare/peers/`.

uWebSockets is published on GitHub and not in a registry: the run measures its C++ core as others have packaged it, which
may be older and, on libuv, slower than one built from its newest source."""

METHOD = """\
Repeat all of it with `{command}`, or a figure with `scripts/compare --only PEER --workloads WORKLOAD`; by hand with a
server's command from above in one terminal and the command over a table in another, both after `ulimit -n 20000`.

- The server is alone on processor {server_cpu}, the load (`ringsock bench`, one thread) on processor {load_cpu}. For
  each sample the server is started anew.
- Server CPU is the processor time of the server's process, including the kernel's time for it, divided by the messages
  of the measured time. Of all figures it depends least on the load.
- Latency is that of a closed loop: with many connections it shows how many others each message waits for, so it is the
  rate seen from the other side.
- Memory for each is the growth of the server's resident set until all connections were open, divided by their number,
  and memory in all is that set in the end; the kernel's is that of its objects for both ends of each connection (slab),
  and of everything else that the host did meanwhile.
- `busy` is the share of its processor that the server used, and `load` the share of the other that the load used. A
  share of about 95 % means that this side set the rate; if neither reached it, the way there and back did. A load at its
  limit also pays for waking a server that sleeps, which in a virtual machine can take longer than sending: a server that
  is done sooner sleeps more often, so the one that takes the least time for each can have the lower rate. That shows in
  `handshakes`, where each is three messages of one client to a server that waits."""
