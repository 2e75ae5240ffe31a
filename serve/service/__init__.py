"""What a server does for its clients, over whatever wire: work in queues, jobs that survive a restart, the limits of requests."""
