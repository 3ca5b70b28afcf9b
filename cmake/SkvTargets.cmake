# One function per kind of target. Targets are named after their folder: worker/kv -> skv_worker_kv,
# in programs that use the library skv::worker_kv.
include(GoogleTest)

# skv_library(skv_text SRCS a.cc HDRS a.h DEPS skv_common)
function(skv_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;HDRS;DEPS" ${ARGN})
  if(ARG_SRCS)
    add_library(${name} STATIC ${ARG_SRCS} ${ARG_HDRS})
    target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
    target_link_libraries(${name} PUBLIC ${ARG_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
  string(REPLACE "skv_" "" export_name ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${export_name})
  add_library(skv::${export_name} ALIAS ${name})
endfunction()

# skv_binary(skv-worker SRCS main.cc DEPS ...): an executable in build/<preset>/bin.
function(skv_binary name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

# skv_test(skv_text_test SRCS a_test.cc b_test.cc DEPS skv_text [LABELS slow] [TIMEOUT 120] [UNSEEN])
# One binary and one CTest entry; `--gtest_filter` narrows it by hand. UNSEEN: it, or a process that it
# starts, runs gRPC or RocksDB, which ThreadSanitizer cannot see whole (tests/tsan_suppressions.txt).
function(skv_test name)
  cmake_parse_arguments(ARG "UNSEEN" "TIMEOUT" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${SKV_SLOWDOWN}")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  if(ARG_UNSEEN)
    skv_suppress_unseen_races(${name})
  endif()
endfunction()

# For tests that were added without skv_test.
function(skv_suppress_unseen_races)
  if(SKV_SANITIZE MATCHES thread)
    set_tests_properties(${ARGN} PROPERTIES ENVIRONMENT
      "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/tsan_suppressions.txt ignore_noninstrumented_modules=1")
  endif()
endfunction()

# skv_benchmark(skv_kernels_benchmark SRCS a_benchmark.cc DEPS ...): built, run by hand or `make bench`.
function(skv_benchmark name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} benchmark::benchmark benchmark::benchmark_main)
endfunction()

# skv_fuzzer(skv_gguf_fuzzer SRCS f.cc DEPS ... CORPUS dir): with SKV_FUZZ a libFuzzer binary; without,
# a CTest entry that replays every file of the corpus through the same LLVMFuzzerTestOneInput.
function(skv_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  if(SKV_FUZZ)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME ${name}_replay COMMAND ${name} ${ARG_CORPUS} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name}_replay PROPERTIES TIMEOUT 120)
  endif()
endfunction()

# skv_proto(skv_proto skv/v1/a.proto ...): C++ messages and gRPC stubs; include "skv/v1/a.pb.h".
function(skv_proto name)
  set(out ${CMAKE_CURRENT_BINARY_DIR})
  set(generated)
  foreach(proto ${ARGN})
    string(REGEX REPLACE "\\.proto$" "" base ${proto})
    set(files ${out}/${base}.pb.cc ${out}/${base}.pb.h ${out}/${base}.grpc.pb.cc ${out}/${base}.grpc.pb.h)
    add_custom_command(
      OUTPUT ${files}
      COMMAND protobuf::protoc --proto_path=${CMAKE_CURRENT_SOURCE_DIR} --cpp_out=${out} --grpc_out=${out}
              --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    list(APPEND generated ${files})
  endforeach()
  add_library(${name} STATIC ${generated})
  target_include_directories(${name} SYSTEM PUBLIC ${out})
  target_compile_options(${name} PRIVATE -w -O1)
  target_link_libraries(${name} PUBLIC gRPC::grpc++ protobuf::libprotobuf)
endfunction()
