//! The harness: starts deployments, injects faults, measures, reports.
