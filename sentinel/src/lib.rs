//! A drop-in for redis-sentinel.
