/* The command that Ansible takes for Python on an emulated machine: asks warm_python.py for one,
 * and is the real one where it is called with arguments, or where nobody answers. */

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PYTHON	  "/usr/bin/python3"
#define FILES	  4
#define MAX_BYTES (1 << 20)

extern char **environ;

static char text[MAX_BYTES];

/* The environment, and its size before it; its length, or 0 where there is too much of it. */
static uint32_t environment(void)
{
	uint32_t length = sizeof(uint32_t);

	for (char **each = environ; *each; each++) {
		size_t size = strlen(*each) + 1;

		if (size > sizeof(text) - length)
			return 0;
		memcpy(text + length, *each, size);
		length += size;
	}
	uint32_t size = length - sizeof(uint32_t);

	memcpy(text, &size, sizeof(size));
	return length;
}

static int ask(int asking, uint32_t length)
{
	int files[FILES] = {0, 1, 2, open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	char control[CMSG_SPACE(sizeof(files))] = {0};
	struct iovec data = {text, length};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	unsigned char status;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(files));
	memcpy(CMSG_DATA(header), files, sizeof(files));
	if (files[FILES - 1] < 0 || sendmsg(asking, &message, 0) != (ssize_t)length)
		return 1;
	return read(asking, &status, 1) == 1 ? status : 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {AF_UNIX, SOCKET};
	int asking = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t length = environment();

	if (argc == 1 && length && !connect(asking, (struct sockaddr *)&address, sizeof(address)))
		return ask(asking, length);
	argv[0] = PYTHON;
	execv(PYTHON, argv);
	return 127;
}
