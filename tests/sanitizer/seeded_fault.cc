// Commits the one fault that its argument names: overflow, leak, undefined or race.

#include <string_view>
#include <thread>

namespace {

// Volatile, so that the compiler neither sees nor removes what is done with them.
int* volatile memory;
volatile int number = 1 << 30;
int shared_number = 0;

void Overflow() {
  memory = new int[4];
  memory[number >> 28] = 1;
  delete[] memory;
}

void Leak() {
  memory = new int[4];
  memory = nullptr;
}

void Race() {
  std::thread other([] { ++shared_number; });
  ++shared_number;
  other.join();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view fault = argc > 1 ? argv[1] : "";
  if (fault == "overflow") Overflow();
  if (fault == "leak") Leak();
  if (fault == "undefined") number = number + number;
  if (fault == "race") Race();
  return 0;
}
