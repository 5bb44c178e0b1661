c = get_config()  # noqa: F821
# Output of Spark in a thread belongs to the cell that has started it.
c.IPKernelApp.capture_fd_output = False
