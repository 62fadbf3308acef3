#include "network.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "report.h"

enum { LINK_TRIES = 200, LINK_PAUSE_US = 10000 }; // two seconds

static int control; // a socket for ioctls

static int set_up(const char *name) {
  struct ifreq request = {.ifr_flags = 0};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (ioctl(control, SIOCGIFFLAGS, &request) < 0) return -1;
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  return ioctl(control, SIOCSIFFLAGS, &request);
}

// The kernel tells that a link is up a moment after it is (Documentation/networking/operstates.rst), on a busy processor a long
// one; MPI libraries pass over an interface that does not run. One that is not plugged in yet is not waited for.
static void await_link(const char *name) {
  for (int tries = 0; tries < LINK_TRIES; tries++) {
    struct ifreq request = {.ifr_flags = 0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(control, SIOCGIFFLAGS, &request) < 0 || (request.ifr_flags & IFF_RUNNING)) return;
    usleep(LINK_PAUSE_US);
  }
}

static int rename_interface(const char *from, const char *to) {
  struct ifreq request = {.ifr_flags = 0};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", from);
  snprintf(request.ifr_newname, sizeof request.ifr_newname, "%s", to);
  return ioctl(control, SIOCSIFNAME, &request);
}

// The interface with this MAC address, into `name`; 0 or -1.
static int find_interface(const char *mac, char name[IFNAMSIZ]) {
  DIR *interfaces = opendir("/sys/class/net");
  struct dirent *entry;
  int found = -1;
  while (interfaces && found < 0 && (entry = readdir(interfaces)) != NULL) {
    char path[300];
    snprintf(path, sizeof path, "/sys/class/net/%s/address", entry->d_name);
    char *address = entry->d_name[0] == '.' ? NULL : read_file(path, NULL);
    if (address && strncasecmp(address, mac, 17) == 0) {
      snprintf(name, IFNAMSIZ, "%.*s", IFNAMSIZ - 1, entry->d_name);
      found = 0;
    }
    free(address);
  }
  if (interfaces) closedir(interfaces);
  return found;
}

// Gives the interface its name; one that has the name already makes room.
static int take_name(const char *from, const char *to, int index) {
  if (strcmp(from, to) == 0) return 0;
  if (if_nametoindex(to) != 0) {
    char aside[IFNAMSIZ];
    snprintf(aside, sizeof aside, "aside%d", index);
    if (rename_interface(to, aside) < 0) return -1;
  }
  return rename_interface(from, to);
}

static struct sockaddr *in(struct sockaddr *address, struct in_addr value) {
  struct sockaddr_in *inet = (struct sockaddr_in *)address;
  memset(inet, 0, sizeof *inet);
  inet->sin_family = AF_INET;
  inet->sin_addr = value;
  return address;
}

// `ADDRESS/PREFIX`; null or the reason.
static const char *set_address(const char *name, const char *text) {
  char address[INET_ADDRSTRLEN];
  int prefix;
  struct in_addr value;
  if (sscanf(text, "%15[0-9.]/%d", address, &prefix) != 2 || prefix < 0 || prefix > 32 || inet_pton(AF_INET, address, &value) != 1) {
    return "the address is not IPv4 with a prefix length";
  }
  struct ifreq request = {.ifr_flags = 0};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  in(&request.ifr_addr, value);
  if (ioctl(control, SIOCSIFADDR, &request) < 0) return because("SIOCSIFADDR");
  struct in_addr mask = {.s_addr = prefix == 0 ? 0 : htonl(~0u << (32 - prefix))};
  in(&request.ifr_netmask, mask);
  if (ioctl(control, SIOCSIFNETMASK, &request) < 0) return because("SIOCSIFNETMASK");
  return NULL;
}

static const char *set_gateway(const char *name, const char *text) {
  struct in_addr gateway, any = {.s_addr = 0};
  if (inet_pton(AF_INET, text, &gateway) != 1) return "the gateway is not an IPv4 address";
  char device[IFNAMSIZ];
  snprintf(device, sizeof device, "%s", name);
  struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = device};
  in(&route.rt_dst, any);
  in(&route.rt_genmask, any);
  in(&route.rt_gateway, gateway);
  return ioctl(control, SIOCADDRT, &route) < 0 && errno != EEXIST ? because("SIOCADDRT") : NULL;
}

static const char *ask_dhcp(const char *name) {
  pid_t child = fork();
  if (child == 0) {
    execl("/leet/busybox", "udhcpc", "-i", name, "-n", "-q", "-f", "-t", "10", "-T", "1", "-s", "/leet/dhcp", (char *)NULL);
    _exit(127);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) < 0) return because("fork");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "no answer from a DHCP server";
}

static const char *configure(const struct json *entry, const char *name, int index) {
  char found[IFNAMSIZ];
  const char *mac = json_text(json_get(json_get(entry, "match"), "macaddress"), NULL);
  if (mac) {
    if (find_interface(mac, found) < 0) return "no interface has its MAC address";
    if (take_name(found, name, index) < 0) return because("SIOCSIFNAME");
  } else if (if_nametoindex(name) == 0) {
    return "there is no such interface";
  }
  long mtu = json_count(json_get(entry, "mtu"), 0);
  if (mtu > 0) {
    struct ifreq request = {.ifr_mtu = (int)mtu};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(control, SIOCSIFMTU, &request) < 0) return because("SIOCSIFMTU");
  }
  if (set_up(name) < 0) return because("SIOCSIFFLAGS");
  await_link(name);
  if (json_is_true(json_get(entry, "dhcp4"))) return ask_dhcp(name);
  const struct json *addresses = json_get(entry, "addresses");
  const char *address = addresses && addresses->kind == JSON_ARRAY ? json_text(addresses->first, NULL) : NULL;
  const char *reason = address ? set_address(name, address) : NULL;
  const char *gateway = json_text(json_get(entry, "gateway4"), NULL);
  return reason || !gateway ? reason : set_gateway(name, gateway);
}

void configure_network(const struct seed *seed) {
  control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0 || set_up("lo") < 0) report_fatal("network", because("lo"), NULL);
  const struct json *ethernets = json_get(seed->network_config, "ethernets");
  int index = 0;
  for (const struct json *entry = ethernets ? ethernets->first : NULL; entry; entry = entry->next, index++) {
    const char *name = json_text(json_get(entry, "set-name"), entry->key);
    const struct json *addresses = json_get(entry, "addresses");
    const char *address = addresses ? json_text(addresses->first, NULL) : NULL;
    if (strlen(name) >= IFNAMSIZ) report_fatal("network", "its name is too long", "interface", name, NULL);
    const char *reason = configure(entry, name, index);
    if (reason) report_fatal("network", reason, "interface", name, "address", address, NULL);
    report_ok("network", "interface", name, "address", address, NULL);
  }
  close(control);
}

void configure_hostname(const struct seed *seed) {
  const char *name = json_text(json_get(seed->user_data, "hostname"), NULL);
  if (!name) name = json_text(json_get(seed->meta_data, "local-hostname"), NULL);
  if (!name) return;
  char line[300];
  snprintf(line, sizeof line, "%s\n", name);
  if (sethostname(name, strlen(name)) < 0 || write_file("/etc/hostname", line, strlen(line), 0644, 0, 0) < 0) {
    report_failed("hostname", because("sethostname"), "name", name, NULL);
  }
}
