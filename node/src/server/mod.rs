//! Sockets: listeners, the connection loop, cron, signals, logs.
