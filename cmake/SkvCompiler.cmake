# Compiler and linker settings that every target shares.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

# The baseline of every non-kernel file; kernels choose their ISA at run time (kernels/cpu).
add_compile_options(-march=x86-64-v2 -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
# docs/arithmetic.md: an expression rounds where the source says so, never where the compiler likes.
add_compile_options(-ffp-contract=off)

find_program(SKV_CCACHE ccache)
if(SKV_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SKV_CCACHE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(SKV_MOLD mold)
  if(SKV_MOLD)
    add_link_options(-fuse-ld=mold)
  endif()
else()
  add_link_options(-fuse-ld=lld)
endif()

# How much more time and memory than usual the programs of this build may take.
set(SKV_SLOWDOWN 1)
if(SKV_SANITIZE)
  set(SKV_SLOWDOWN 10)
  add_compile_options(-fsanitize=${SKV_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${SKV_SANITIZE})
endif()

if(SKV_FUZZ)
  # Coverage feedback from the libraries under test, not only from the target itself.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
