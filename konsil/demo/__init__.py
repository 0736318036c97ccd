"""The demo: a simulated hospital talks to a real Konsil over real sockets and plays one whole case."""
