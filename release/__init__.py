"""What makes of a commit the thing that a host is provisioned from. Never installed itself."""
