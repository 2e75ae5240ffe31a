"""What a server does for whoever asks, over whatever wire: work in queues, jobs that survive a restart, what may be asked for."""
