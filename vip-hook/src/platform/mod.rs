//! Linux: addresses, the kernel's lease on them, ARP and neighbour discovery.
