/*
 * pick_device: a Vulkan layer under which a process sees one device alone, the one at the index of the loader's list
 * that GRPO_WEBGPU_VULKAN_DEVICE holds. Neither Dawn nor Deno lets a program choose between two equal cards.
 *
 *   cc -shared -fPIC -O2 -o libpick_device.so pick_device.c
 *
 * It is built where it runs, mostly without Vulkan's headers: the few types of the loader's layer interface
 * (version 2) that it needs stand here.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef Function (*GetProc)(void *instance, const char *name);
typedef int32_t (*CreateInstance)(const void *info, const void *allocator, void **instance);
typedef int32_t (*Enumerate)(void *instance, uint32_t *count, void **devices);

struct Link {
  struct Link *next;
  GetProc get_instance_proc;
  GetProc get_physical_device_proc;
};
/* VkInstanceCreateInfo and whatever hangs on it begin alike. */
struct Chained {
  int32_t type;
  const void *next;
};
struct LayerCreateInfo {
  int32_t type;
  const void *next;
  int32_t function;
  struct Link *link;
};
struct Negotiation {
  int32_t type;
  void *next;
  uint32_t version;
  GetProc get_instance_proc, get_device_proc, get_physical_device_proc;
};

enum { SUCCESS = 0, INCOMPLETE = 5, INITIALIZATION_FAILED = -3, LOADER_INSTANCE_CREATE_INFO = 47, LINK_INFO = 0, MOST = 64 };

/* Of the layer below, or the loader: the same for every instance of a process. */
static GetProc below;
static Enumerate list_below;

static int32_t create_instance(const void *info, const void *allocator, void **instance) {
  const struct Chained *part = ((const struct Chained *)info)->next;
  while (part && !(part->type == LOADER_INSTANCE_CREATE_INFO && ((struct LayerCreateInfo *)part)->function == LINK_INFO))
    part = part->next;
  if (!part) return INITIALIZATION_FAILED;
  struct LayerCreateInfo *layer = (struct LayerCreateInfo *)part;
  below = layer->link->get_instance_proc;
  layer->link = layer->link->next; /* the layer below reads its own from here */
  int32_t result = ((CreateInstance)below(NULL, "vkCreateInstance"))(info, allocator, instance);
  /* Only now: once the instance is whole, the loader answers with the top of its chain, which is this layer. */
  if (result == SUCCESS) list_below = (Enumerate)below(*instance, "vkEnumeratePhysicalDevices");
  return result;
}

static int32_t enumerate(void *instance, uint32_t *count, void **devices) {
  const char *wanted = getenv("GRPO_WEBGPU_VULKAN_DEVICE");
  if (!wanted) return list_below(instance, count, devices);
  void *all[MOST];
  uint32_t found = MOST;
  int32_t result = list_below(instance, &found, all);
  if (result != SUCCESS && result != INCOMPLETE) return result;
  unsigned long index = strtoul(wanted, NULL, 10);
  uint32_t shown = index < found;
  if (!devices) {
    *count = shown;
    return SUCCESS;
  }
  if (*count < shown) return INCOMPLETE;
  *count = shown;
  if (shown) devices[0] = all[index];
  return SUCCESS;
}

static Function get_proc(void *instance, const char *name) {
  if (!strcmp(name, "vkGetInstanceProcAddr")) return (Function)get_proc;
  if (!strcmp(name, "vkCreateInstance")) return (Function)create_instance;
  if (!strcmp(name, "vkEnumeratePhysicalDevices")) return (Function)enumerate;
  return below ? below(instance, name) : NULL;
}

/* The one symbol that the loader looks for. */
int32_t vkNegotiateLoaderLayerInterfaceVersion(struct Negotiation *with) {
  with->version = 2;
  with->get_instance_proc = get_proc;
  with->get_device_proc = NULL;
  with->get_physical_device_proc = NULL;
  return SUCCESS;
}
